/** Returns the URL of a database or of Redis with every possible password removed, for logs. */
export function redactUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const hasLogin = url !== undefined && (url.username !== '' || url.password !== '')
  // An @ that does not end the login belongs to a password that ended the host too early. Then host
  // and path contain parts of the password, too.
  const isTorn = url !== undefined && (text.split('@').length > (hasLogin ? 2 : 1) || url.hash !== '')
  if (url === undefined || url.host === '' || isTorn) return '(hidden)'
  const login = hasLogin ? '…@' : ''
  return JSON.stringify(`${url.protocol}//${login}${url.host}${url.pathname}`)
}
