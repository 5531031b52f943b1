/** The door of the SDK: wires the parts together and offers what an application asks for. */
import { ChorusError } from '@chorus/protocol'
import type { ChatClient, ChatClientOptions } from './api.ts'

/** Makes a client. Nothing happens until `start()`. */
export function createChatClient(options: ChatClientOptions): ChatClient {
  throw new ChorusError('unavailable', `unable to make a client for ${options.url}; it is not built yet`)
}
