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

/** Whether it has the name of an event of the wire; what it holds is the checker's business. */
export function isServerEvent(event: { readonly name: string; readonly payload: unknown }): event is ServerEvent {
  return names.has(event.name)
}
