import type { ServerEvent } from '@chorus/protocol'

const names = new Set([
  'ready',
  'changes',
  'conversation',
  'live',
  'presence',
  'checkpoint',
  'reset',
  'moving',
  'closing',
])

/**
 * Returns whether the event has the name of an event of the Chorus protocol. Its content is not
 * checked here; the checker does that.
 */
export function isServerEvent(event: { readonly name: string; readonly payload: unknown }): event is ServerEvent {
  return names.has(event.name)
}
