/** Converts line ends. They are not part of an SQL file, because a checkout may change them. */
export function withUnixLineEnds(text: string): string {
  return text.replaceAll('\r\n', '\n')
}
