/**
 * Shows content without a view of its own as a plain block: an object as names and values, other
 * content as JSON. The block is never empty, and long content is collapsed at first.
 */
import type { Json } from '@chorus/client'
import { showsNothing } from './plain-text.ts'
import './plain-block.css'

/** Maximum length of content that is shown without a click. */
const shortChars = 1_000
const shownChars = 20_000
/** Maximum number of names. An object with more names is shown as JSON. */
const namesMax = 50

interface PlainBlockProps {
  readonly label: string
  readonly value: Json
}

export function PlainBlock({ label, value }: PlainBlockProps) {
  const json = JSON.stringify(value, null, 2)
  const pairs = toPairs(value)
  return (
    <details className='message-data' open={json.length <= shortChars}>
      <summary>{label}</summary>
      {pairs === undefined ? (
        <pre tabIndex={0} role='region' aria-label='Data'>
          {cut(json)}
        </pre>
      ) : (
        <dl className='pairs'>
          {pairs.map(([name, text]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{cut(text)}</dd>
            </div>
          ))}
        </dl>
      )}
    </details>
  )
}

/**
 * Returns the names and values of an object. Returns undefined for other content, and for an object
 * with a name that cannot be seen.
 */
function toPairs(value: Json): readonly (readonly [string, string])[] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const names = Object.keys(value)
  if (names.length === 0 || names.length > namesMax || names.some(showsNothing)) return undefined
  return Object.entries(value).map(([name, inner]) => [
    name,
    typeof inner === 'string' && !showsNothing(inner) ? inner : JSON.stringify(inner),
  ])
}

function cut(text: string): string {
  return text.length > shownChars ? `${text.slice(0, shownChars)}…` : text
}
