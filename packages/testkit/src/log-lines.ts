/** Stores the last output lines of a process, up to a limit, and waits for lines. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

const keptLinesMax = 20_000

export class LogLines {
  readonly #lines: string[] = []
  readonly #listeners = new Set<(line: string) => void>()

  follow(stream: Readable): void {
    createInterface({ input: stream }).on('line', (line) => {
      this.#lines.push(line)
      if (this.#lines.length > keptLinesMax) this.#lines.splice(0, keptLinesMax / 2)
      for (const listener of this.#listeners) listener(line)
    })
  }

  /** Stored lines, oldest first. */
  get lines(): readonly string[] {
    return this.#lines
  }

  get text(): string {
    return this.#lines.join('\n')
  }

  /** Calls the listener for every new line. The returned function removes the listener. */
  listen(listener: (line: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Resolves to the first match in a new line. Rejects when the process ends first, and after
   * `timeoutMs`. The error contains the output of the process.
   */
  waitFor(pattern: RegExp, child: ChildProcess, timeoutMs: number): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const finish = () => {
        clearTimeout(timer)
        stopListening()
        child.off('close', onClose)
        child.off('error', onError)
      }
      const refuse = (why: string) => {
        finish()
        reject(new Error(`unable to start ${child.spawnfile}; ${why}:\n${this.#lines.slice(-60).join('\n')}`))
      }
      const onClose = (code: number | null, signal: string | null) => refuse(`it ended with ${code ?? signal}`)
      const onError = (error: Error) => refuse(error.message)
      const timer = setTimeout(() => refuse(`no line like ${String(pattern)} within ${timeoutMs} ms`), timeoutMs)
      const stopListening = this.listen((line) => {
        const match = pattern.exec(line)
        if (match === null) return
        finish()
        resolve(match)
      })
      child.once('close', onClose)
      child.once('error', onError)
    })
  }
}
