/** Reads a body of Server-Sent Events. Apart from the transport, because most clients never need it. */
import { createParser } from 'eventsource-parser'
import { chunksOf } from './read-body.ts'

/** The longest single event, in characters; a server that sends more without an end is not ours. */
export const eventMaxChars = 4_194_304

export interface EventReader {
  /** Asked after every wait: a handler may have closed the link. */
  readonly isClosed: () => boolean
  readonly onPiece: () => void
  readonly onEvent: (name: string, payload: unknown) => void
}

/** Returns at the end of the body, when the link was closed, or at an event that is too long. */
export async function readEvents(
  body: ReadableStream<Uint8Array>,
  { isClosed, onPiece, onEvent }: EventReader,
): Promise<void> {
  let charsSinceEvent = 0
  const parser = createParser({
    onEvent: ({ event = 'message', data }) => {
      charsSinceEvent = 0
      onEvent(event, parseJson(data))
    },
    onComment: () => {
      charsSinceEvent = 0
    },
  })
  const decoder = new TextDecoder()
  for await (const chunk of chunksOf(body)) {
    onPiece()
    const text = decoder.decode(chunk, { stream: true })
    charsSinceEvent += text.length
    parser.feed(text)
    if (charsSinceEvent > eventMaxChars || isClosed()) return
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
