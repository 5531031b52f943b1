/**
 * Renders the Markdown of a message. Loaded on demand. Raw HTML stays text: nothing is written to
 * `innerHTML`. Links follow `link-policy.ts`. Pictures become links, because loading a picture
 * would reveal the reader to another server. Headings become bold lines, because the page has its
 * own headings.
 */
import { useMemo } from 'react'
import type { Components, ExtraProps, Options } from 'react-markdown'
import ReactMarkdown from 'react-markdown'
import remarkGfm from 'remark-gfm'
import { keepAsWritten } from './as-written.ts'
import { safeLink } from './link-policy.ts'
import './markdown.css'

type HeadingProps = { readonly children?: React.ReactNode }
const Heading = ({ children }: HeadingProps) => <p className='markdown-heading'>{children}</p>

const components: Components = {
  a({ href, children }) {
    const address = href === undefined ? undefined : safeLink(href)
    if (address === undefined) return <>{children}</>
    return (
      <a href={address} target='_blank' rel='noopener noreferrer'>
        {children}
      </a>
    )
  },
  // No picture arrives here: `as-written.ts` has turned all pictures into links.
  img: () => null,
  h1: Heading,
  h2: Heading,
  h3: Heading,
  h4: Heading,
  h5: Heading,
  h6: Heading,
  input({ checked }) {
    return <span className='markdown-task'>{checked === true ? '☑' : '☐'}</span>
  },
  li({ children, className, ...rest }) {
    const number: unknown = (rest as Record<string, unknown>)['data-number']
    return (
      <li className={className}>
        {typeof number === 'string' && <span className='markdown-number'>{number} </span>}
        {children}
      </li>
    )
  },
  pre({ children, node }) {
    const language = languageOf(node)
    return (
      <>
        {language !== undefined && <p className='markdown-language'>{language}</p>}
        <pre tabIndex={0} role='region' aria-label='Code'>
          {children}
        </pre>
      </>
    )
  },
  table({ children }) {
    return (
      <div className='markdown-table' tabIndex={0} role='region' aria-label='Table'>
        <table>{children}</table>
      </div>
    )
  },
}

type Element = NonNullable<ExtraProps['node']>

/**
 * Returns the language of a code block, as typed after the three backticks that open it. Reads it
 * from the class name that the renderer has set.
 */
function languageOf(pre: Element | undefined): string | undefined {
  const code = pre?.children[0]
  const names: unknown = code?.type === 'element' ? code.properties['className'] : undefined
  return Array.isArray(names) ? String(names[0]).replace(/^language-/, '') : undefined
}

export function Markdown({ text }: { readonly text: string }) {
  const remarkPlugins = useMemo<Options['remarkPlugins']>(
    () => [[remarkGfm, { singleTilde: false }], keepAsWritten(text)],
    [text],
  )
  return (
    <div className='markdown'>
      <ReactMarkdown remarkPlugins={remarkPlugins} components={components} urlTransform={(url) => safeLink(url) ?? ''}>
        {text}
      </ReactMarkdown>
    </div>
  )
}
