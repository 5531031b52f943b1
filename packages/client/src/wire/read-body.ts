/**
 * Reads a response body piece by piece. On a slow line a body may take minutes. So the caller
 * limits the silence between two pieces, and this module limits the total length.
 */

/** Maximum length of a response, in characters (32 Mi). */
export const bodyMaxChars = 33_554_432

export async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  // Use `getReader`, because not every browser can iterate over a stream with `for await`.
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

/** Returns the text of a response. Calls `onPiece` for each received piece. */
export async function readText(response: Response, onPiece: () => void): Promise<string> {
  // Read the whole text at once where `fetch` does not offer the body as a stream.
  if (typeof response.body?.getReader !== 'function') return response.text()
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of chunksOf(response.body)) {
    onPiece()
    text += decoder.decode(chunk, { stream: true })
    if (text.length > bodyMaxChars) throw new Error(`the response is longer than ${bodyMaxChars} characters`)
  }
  return text + decoder.decode()
}
