/**
 * Copies text to the clipboard. Also works on a page without https, where browsers do not offer
 * `navigator.clipboard`.
 */
import { showNotice } from '../notices/notices.ts'

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // `navigator.clipboard` is missing without https, and the user may refuse the permission. Use
    // `document.execCommand` below.
  }
  const field = document.createElement('textarea')
  const before = document.activeElement
  field.value = text
  field.className = 'hidden-visually'
  // Add the field inside an open modal dialog: elements outside the dialog are inert, so their text
  // cannot be selected.
  ;(document.querySelector('dialog:modal') ?? document.body).append(field)
  field.focus({ preventScroll: true })
  field.select()
  try {
    return document.execCommand('copy')
  } catch {
    return false
  } finally {
    field.remove()
    if (before instanceof HTMLElement) before.focus({ preventScroll: true })
  }
}

/** Copies a text and shows a notice: `done` (such as `Text copied`), or that it failed. */
export function copyText(text: string, done: string): void {
  void copy(text).then((isCopied) => {
    showNotice(isCopied ? { tone: 'info', text: done } : { tone: 'error', text: 'Couldn’t copy.' })
  })
}
