/**
 * Returns the URL of a database or a Redis for logs. Removes everything that may be part of a
 * password.
 */
export function redactUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const hasLogin = url !== undefined && (url.username !== '' || url.password !== '')
  // An @ after the login means that the password contained a character, such as `/`, at which the
  // parser ended the host too early. Host and path then contain parts of the password.
  const isTorn = url !== undefined && (text.split('@').length > (hasLogin ? 2 : 1) || url.hash !== '')
  if (url === undefined || url.host === '' || isTorn) return '(hidden)'
  const login = hasLogin ? '…@' : ''
  return JSON.stringify(`${url.protocol}//${login}${url.host}${url.pathname}`)
}
