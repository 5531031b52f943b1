/**
 * Shows the content of a message: as plain text if that suffices, otherwise as Markdown. Plain text
 * is shown until the Markdown renderer is loaded. A message without text is never an empty bubble:
 * its data or its attachment is shown as a plain block. So is data that looks like a card.
 */
import type { Json } from '@chorus/client'
import { memo, Suspense } from 'react'
import { part } from '../ui/part.tsx'
import { ErrorBoundary } from '../ui/trouble.tsx'
import { PlainBlock } from './plain-block.tsx'
import { isLargeEmoji, needsMarkdown, showsNothing } from './plain-text.ts'

/** Label of content that looks like a card, but that the server did not sign for this message. */
export const unprovenLabel = 'Where this comes from isn’t proven'

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
  if (!isCardLike(data)) return <Written text={text} />
  return (
    <>
      <Written text={text} />
      <Carried data={data} hasAttachment={false} />
    </>
  )
})

function Written({ text }: TextProps) {
  if (isLargeEmoji(text)) return <p className='message-text message-text-emoji'>{text}</p>
  if (!needsMarkdown(text)) return <Plain text={text} />
  return (
    <ErrorBoundary what='This message' fallback={<Plain text={text} />}>
      <Suspense fallback={<Plain text={text} />}>
        <Markdown text={text} />
      </Suspense>
    </ErrorBoundary>
  )
}

function Carried({ data, hasAttachment }: { readonly data: Json; readonly hasAttachment: boolean }) {
  if (data === null) return <p className='message-text secondary'>{hasAttachment ? 'Attachment' : 'Empty message'}</p>
  return <PlainBlock label={isCardLike(data) ? unprovenLabel : 'Content this app can’t show'} value={data} />
}

/** Returns whether data looks like a card. Only a card of the server is one: users can write any data. */
function isCardLike(data: Json): boolean {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return false
  const { jws, card, title, fields, actions } = data as { readonly [name: string]: Json | undefined }
  return jws !== undefined || card !== undefined || (title !== undefined && (fields ?? actions) !== undefined)
}
