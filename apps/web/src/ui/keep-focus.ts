/**
 * Gives the focus back to where it was before something was opened. Where that is gone (the actions of a message are only there
 * while one stands on it), its nearest `data-focus-home` gets it instead.
 */
export function keepFocus(): (opened: Element) => void {
  const before = document.activeElement
  const home = before?.closest<HTMLElement>('[data-focus-home]')
  return (opened) => {
    const now = document.activeElement
    // Somebody has put it elsewhere meanwhile: it stays there.
    if (now !== document.body && now !== null && !opened.contains(now)) return
    if (before instanceof HTMLElement && before.isConnected && before !== document.body)
      before.focus({ preventScroll: true })
    if (document.activeElement !== before && home?.isConnected === true) home.focus({ preventScroll: true })
  }
}
