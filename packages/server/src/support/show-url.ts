/** The address of a database or of Redis, fit for a log: what helps to find a mistake, and nothing that may be a password. */
export function showUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const hasLogin = url !== undefined && (url.username !== '' || url.password !== '')
  // An @ that ends no login is part of a password that ended the host early: host and path are parts of it, too.
  const isTorn = url !== undefined && (text.split('@').length > (hasLogin ? 2 : 1) || url.hash !== '')
  if (url === undefined || url.host === '' || isTorn) return '(hidden)'
  const login = hasLogin ? '…@' : ''
  return JSON.stringify(`${url.protocol}//${login}${url.host}${url.pathname}`)
}
