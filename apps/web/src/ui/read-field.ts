/**
 * Returns the text of a form field without surrounding blanks, or an empty string if the field does
 * not exist. With `trim: false`, as for passwords, the blanks stay.
 */
export function readField(data: FormData, name: string, options: { readonly trim: boolean } = { trim: true }): string {
  const value = data.get(name)
  if (typeof value !== 'string') return ''
  return options.trim ? value.trim() : value
}
