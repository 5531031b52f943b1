/**
 * Decides which addresses a message may link to: only web pages and mail. Everything else
 * (`javascript:`, `data:`, `file:`, relative paths that would act on this origin) stays text. In
 * doubt, an address is no link.
 */
const allowedProtocols = new Set(['http:', 'https:', 'mailto:'])

/** Returns the address to link to, or undefined if the text must not be a link. */
export function safeLink(address: string): string | undefined {
  const trimmed = address.trim()
  // Browsers drop tabs and line breaks inside an address, which would turn `java\nscript:` into a
  // command.
  if (trimmed === '' || /[\u0000-\u0020\u007f\\]/.test(trimmed)) return undefined
  if (!/^(?:https?:\/\/|mailto:)/i.test(trimmed)) return undefined
  try {
    const url = new URL(trimmed)
    return allowedProtocols.has(url.protocol) ? url.href : undefined
  } catch {
    return undefined
  }
}
