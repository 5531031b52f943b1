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

/** Returns whether the event has the name of a wire event. The checker judges its content. */
export function isServerEvent(event: { readonly name: string; readonly payload: unknown }): event is ServerEvent {
  return names.has(event.name)
}
