/**
 * Decides to which addresses a message may link: only web pages and mail addresses. All other
 * addresses (`javascript:`, `data:`, `file:`, relative paths, which would act on this server) stay
 * text. An address that cannot be parsed stays text, too.
 */
const allowedProtocols = new Set(['http:', 'https:', 'mailto:'])

/** Returns the address for the link. Returns undefined if the text must not become a link. */
export function safeLink(address: string): string | undefined {
  const trimmed = address.trim()
  // Refuse an address with blanks, control characters or backslashes. For example, browsers drop
  // line breaks inside an address, which would turn `java\nscript:` into `javascript:`.
  if (trimmed === '' || /[\u0000-\u0020\u007f\\]/.test(trimmed)) return undefined
  if (!/^(?:https?:\/\/|mailto:)/i.test(trimmed)) return undefined
  try {
    const url = new URL(trimmed)
    return allowedProtocols.has(url.protocol) ? url.href : undefined
  } catch {
    return undefined
  }
}
