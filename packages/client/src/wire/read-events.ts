/**
 * Reads a response body of Server-Sent Events. Separate from the transport, so that clients with
 * WebSocket never load it.
 */
import { createParser } from 'eventsource-parser'
import { chunksOf } from './read-body.ts'

/** Maximum length of one event, in characters (4 Mi). No Chorus server sends a longer one. */
export const eventMaxChars = 4_194_304

export interface EventReader {
  /**
   * Returns whether the link was closed. Called after every await, because a handler may have
   * closed it.
   */
  readonly isClosed: () => boolean
  readonly onPiece: () => void
  readonly onEvent: (name: string, payload: unknown) => void
}

/** Reads events until the body ends, the link is closed, or an event is too long. */
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
