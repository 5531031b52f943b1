/**
 * Shows the content of a message: as plain text if that suffices, otherwise as Markdown. Plain text
 * is shown until the Markdown renderer is loaded. A message without text is never an empty bubble:
 * its data or its attachment is shown as a plain block.
 */
import type { Json } from '@chorus/client'
import { memo, Suspense } from 'react'
import { part } from '../ui/part.tsx'
import { ErrorBoundary } from '../ui/trouble.tsx'
import { isLargeEmoji, needsMarkdown, showsNothing } from './plain-text.ts'

interface TextProps {
  readonly text: string
}

const Plain = ({ text }: TextProps) => <p className='message-text'>{text}</p>
const Markdown = part(async () => (await import('./markdown.tsx')).Markdown, Plain)

interface MessageTextProps extends TextProps {
  readonly data?: Json | undefined
  readonly attachments?: readonly string[] | undefined
}

export const MessageText = memo(function MessageText({ text, data = null, attachments }: MessageTextProps) {
  if (showsNothing(text)) return <Carried data={data} hasAttachment={(attachments?.length ?? 0) > 0} />
  if (isLargeEmoji(text)) return <p className='message-text message-text-emoji'>{text}</p>
  if (!needsMarkdown(text)) return <Plain text={text} />
  return (
    <ErrorBoundary what='This message' fallback={<Plain text={text} />}>
      <Suspense fallback={<Plain text={text} />}>
        <Markdown text={text} />
      </Suspense>
    </ErrorBoundary>
  )
})

/** Maximum length of data that is shown without a click. Longer data is collapsed at first. */
const shortChars = 120
const shownChars = 20_000

function Carried({ data, hasAttachment }: { readonly data: Json; readonly hasAttachment: boolean }) {
  const json = data === null ? '' : JSON.stringify(data, null, 2)
  const label = json !== '' ? 'Content this app can’t show' : hasAttachment ? 'Attachment' : 'Empty message'
  if (json === '') return <p className='message-text secondary'>{label}</p>
  return (
    <details className='message-data' open={json.length <= shortChars}>
      <summary>{label}</summary>
      <pre tabIndex={0} role='region' aria-label='Data'>
        {json.slice(0, shownChars)}
        {json.length > shownChars && '…'}
      </pre>
    </details>
  )
}
