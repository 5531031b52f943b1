/** The address of a database or of Redis, fit for a log: what helps to find a mistake, and nothing that may be a password. */
export function showUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || url.host === '') return '(hidden)'
  const login = url.username === '' && url.password === '' ? '' : '…@'
  return JSON.stringify(`${url.protocol}//${login}${url.host}${url.pathname}`)
}
