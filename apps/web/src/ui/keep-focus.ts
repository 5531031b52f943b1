/**
 * Records the focused element. Returns a function that restores the focus after a layer has closed.
 * If that element no longer exists (message actions exist only while the message is active), its
 * nearest `data-focus-home` gets the focus.
 */
export function keepFocus(): (opened: Element) => void {
  const before = document.activeElement
  const home = before?.closest<HTMLElement>('[data-focus-home]')
  return (opened) => {
    const now = document.activeElement
    // The user has moved the focus outside the closed layer: leave it there.
    if (now !== document.body && now !== null && !opened.contains(now)) return
    if (before instanceof HTMLElement && before.isConnected && before !== document.body)
      before.focus({ preventScroll: true })
    if (document.activeElement !== before && home?.isConnected === true) home.focus({ preventScroll: true })
  }
}
