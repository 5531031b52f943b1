/**
 * Which addresses a message may link to. Only what opens a page or a mail; everything else (`javascript:`, `data:`, `file:`,
 * relative paths that would act on this origin) stays text. Rule of thumb: if in doubt, it is no link.
 */
const allowedProtocols = new Set(['http:', 'https:', 'mailto:'])

/** The address to link to, or undefined when the text must stay text. */
export function safeLink(address: string): string | undefined {
  const trimmed = address.trim()
  // Browsers drop tabs and line breaks inside an address, and with them would turn `java\nscript:` into a command.
  if (trimmed === '' || /[\u0000-\u0020\u007f\\]/.test(trimmed)) return undefined
  if (!/^(?:https?:\/\/|mailto:)/i.test(trimmed)) return undefined
  try {
    const url = new URL(trimmed)
    return allowedProtocols.has(url.protocol) ? url.href : undefined
  } catch {
    return undefined
  }
}
