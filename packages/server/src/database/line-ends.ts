/**
 * Converts all line ends to those of Unix. A checkout may change the line ends of an SQL file, so
 * they must not count as a difference.
 */
export function withUnixLineEnds(text: string): string {
  return text.replaceAll('\r\n', '\n')
}
