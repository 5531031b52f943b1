/**
 * Error that prevents the start of the server. Its message is one line from which an operator can
 * see what to change. The process prints it and exits with status 1.
 */
export class StartError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StartError'
  }
}
