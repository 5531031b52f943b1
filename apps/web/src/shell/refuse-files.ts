/**
 * Blocks files that the user drops or pastes, and links that the user drops outside an input field.
 * Otherwise the browser would open them in place of the application, and unsent text would be lost.
 * A component that accepts files can handle the event first and call `preventDefault`.
 */
import { showNotice } from '../notices/notices.ts'

export function refuseFiles(page: Window): void {
  page.addEventListener('dragover', (event) => {
    if (hasFiles(event.dataTransfer) || isLinkOutsideField(event)) event.preventDefault()
  })
  page.addEventListener('drop', (event) => {
    if (event.defaultPrevented) return
    if (isLinkOutsideField(event)) event.preventDefault()
    if (!hasFiles(event.dataTransfer)) return
    event.preventDefault()
    sayRefused()
  })
  page.addEventListener('paste', (event) => {
    // Accept a paste that contains text: text copied from an office program also includes a picture
    // of the text.
    const hasText = event.clipboardData?.types.includes('text/plain') === true
    if (event.defaultPrevented || hasText || !hasFiles(event.clipboardData)) return
    event.preventDefault()
    sayRefused()
  })
}

function hasFiles(data: DataTransfer | null): boolean {
  return data !== null && (data.types.includes('Files') || data.files.length > 0)
}

function isLinkOutsideField({ dataTransfer, target }: DragEvent): boolean {
  if (dataTransfer?.types.includes('text/uri-list') !== true) return false
  return !(target instanceof Element) || target.closest('input, textarea') === null
}

function sayRefused(): void {
  showNotice({ tone: 'info', text: 'Files can’t be sent here. Your text is kept.' })
}
