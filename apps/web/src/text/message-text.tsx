/** A message's text: as it is where that is enough, otherwise as Markdown, with the plain text in place until that is loaded. */
import { lazy, memo, Suspense } from 'react'
import { isLargeEmoji, needsMarkdown } from './plain-text.ts'

const Markdown = lazy(async () => ({ default: (await import('./markdown.tsx')).Markdown }))

export const MessageText = memo(function MessageText({ text }: { readonly text: string }) {
  if (isLargeEmoji(text)) return <p className='message-text message-text-emoji'>{text}</p>
  const plain = <p className='message-text'>{text}</p>
  if (!needsMarkdown(text)) return plain
  return (
    <Suspense fallback={plain}>
      <Markdown text={text} />
    </Suspense>
  )
})
