/** Sends a command over the live connection while there is one, and over HTTP otherwise. */
import type { CommandAck, CommandRequest, EventCommandName } from '@chorus/protocol'

export type SendRequest = <Name extends EventCommandName>(
  name: Name,
  request: CommandRequest<Name>,
) => Promise<CommandAck<Name>>
