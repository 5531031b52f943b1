/** Height of a text field that follows its text, up to a maximum number of lines. */
import { useCallback, useEffect, useLayoutEffect, type RefObject } from 'react'

export function useFittedHeight(field: RefObject<HTMLTextAreaElement | null>, text: string, linesMax: number): void {
  const fit = useCallback((): void => {
    const element = field.current
    if (element === null) return
    element.style.height = 'auto'
    const lineHeight = Number.parseFloat(getComputedStyle(element).lineHeight)
    const padding = element.offsetHeight - element.clientHeight + 18
    element.style.height = `${Math.min(element.scrollHeight, lineHeight * linesMax + padding)}px`
  }, [field, linesMax])
  useLayoutEffect(fit, [fit, text])
  // A new width of the field wraps the text differently, so its height must be computed again.
  useEffect(() => {
    const element = field.current
    if (element === null) return
    let { clientWidth } = element
    const observer = new ResizeObserver(() => {
      if (element.clientWidth === clientWidth) return
      clientWidth = element.clientWidth
      fit()
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [field, fit])
}
