/**
 * A link that navigates inside the application without a page load. It is a real `a` element, so
 * the user can copy its address or open it in a new tab.
 */
import type { AnchorHTMLAttributes, MouseEvent } from 'react'
import { formatRoute, type Route } from './route.ts'
import { navigate } from './use-route.ts'

interface LinkProps extends Omit<AnchorHTMLAttributes<HTMLAnchorElement>, 'href'> {
  readonly to: Route
}

export function Link({ to, onClick, ...rest }: LinkProps) {
  const follow = (event: MouseEvent<HTMLAnchorElement>): void => {
    onClick?.(event)
    const elsewhere = event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey
    if (event.defaultPrevented || elsewhere) return
    event.preventDefault()
    navigate(to)
  }
  return <a {...rest} href={formatRoute(to)} onClick={follow} />
}
