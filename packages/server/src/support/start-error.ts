/**
 * An error that prevents the start, described in one line that an operator can act on. The process
 * prints it and exits with status 1.
 */
export class StartError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StartError'
  }
}
