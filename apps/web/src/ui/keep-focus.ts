/**
 * Remembers the focused element. Returns a function that focuses it again after a layer (a menu, a
 * dialog) has closed. If the element no longer exists, the nearest element around it with
 * `data-focus-home` gets the focus. This happens to the action buttons of a message, which exist
 * only while the message is hovered or focused.
 */
export function keepFocus(): (opened: Element) => void {
  const before = document.activeElement
  const home = before?.closest<HTMLElement>('[data-focus-home]')
  return (opened) => {
    const now = document.activeElement
    // If the user has already moved the focus outside the closed layer, leave it there.
    if (now !== document.body && now !== null && !opened.contains(now)) return
    if (before instanceof HTMLElement && before.isConnected && before !== document.body)
      before.focus({ preventScroll: true })
    if (document.activeElement !== before && home?.isConnected === true) home.focus({ preventScroll: true })
  }
}
