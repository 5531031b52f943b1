/** The text of a form's field, trimmed; empty when there is none. A password is taken as it is. */
export function readField(data: FormData, name: string, options: { readonly trim: boolean } = { trim: true }): string {
  const value = data.get(name)
  if (typeof value !== 'string') return ''
  return options.trim ? value.trim() : value
}
