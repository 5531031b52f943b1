/**
 * Explains an error to a user: its cause, and what the user can do. The messages in the error
 * catalogue are written for developers.
 */
import { ChorusError } from '@chorus/client'
import { showNotice } from './notices.ts'

export function explainError(error: unknown): string {
  if (!(error instanceof ChorusError)) return 'Something went wrong. Try again.'
  switch (error.code) {
    case 'unavailable':
    case 'unknown':
      return 'The server can’t be reached. Try again in a moment.'
    case 'rate-limited':
      return 'You’re doing that too often. Wait a moment and try again.'
    case 'forbidden':
      return 'You’re not allowed to do that.'
    case 'not-found':
      return 'That no longer exists, or you don’t have access to it.'
    case 'unauthenticated':
      return 'You’re signed out. Sign in again.'
    case 'too-large':
      return 'That’s too long.'
    case 'conflict':
      return 'That’s already taken.'
    case 'stale':
      return 'That has changed in the meantime.'
    case 'invalid':
    case 'unsupported':
      return reasonOf(error.message)
  }
}

/**
 * Returns the second half of an error message `unable to X; Y` as a sentence: with a capital letter
 * and a full stop.
 */
function reasonOf(message: string): string {
  const reason = message.slice(message.indexOf(';') + 1).trim()
  return reason === '' ? 'That isn’t possible.' : `${reason.charAt(0).toLocaleUpperCase()}${reason.slice(1)}.`
}

/**
 * Shows a notice if an action of the user fails. The notice begins with `failure`, such as
 * `Couldn’t rename`.
 */
export function attempt(promise: Promise<unknown>, failure: string): void {
  promise.catch((error: unknown) => showNotice({ tone: 'error', text: `${failure}. ${explainError(error)}` }))
}
