/**
 * Returns the trimmed text of a form field, or an empty string without the field. A password is not
 * trimmed.
 */
export function readField(data: FormData, name: string, options: { readonly trim: boolean } = { trim: true }): string {
  const value = data.get(name)
  if (typeof value !== 'string') return ''
  return options.trim ? value.trim() : value
}
