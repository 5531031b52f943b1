/**
 * Reads the body of an answer as it comes. On a slow line a body may take minutes, so what is limited is silence between
 * two pieces, by the caller, and the length of the whole.
 */

/** The longest answer that is read, in characters. */
export const bodyMaxChars = 33_554_432

export async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  // Not every browser can iterate a stream.
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

/** The text of an answer; `onPiece` is called for each piece of it. */
export async function readText(response: Response, onPiece: () => void): Promise<string> {
  // Not every `fetch` shows the body as a stream.
  if (typeof response.body?.getReader !== 'function') return response.text()
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of chunksOf(response.body)) {
    onPiece()
    text += decoder.decode(chunk, { stream: true })
    if (text.length > bodyMaxChars) throw new Error(`the answer is longer than ${bodyMaxChars} characters`)
  }
  return text + decoder.decode()
}
