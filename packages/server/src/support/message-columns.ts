/**
 * Columns of messages in the database. Each field of a message, except conversation and seq, has a
 * column of the same name in snake case. So a new optional field of messages needs only a new
 * column in `changes`.
 */
import { type Id, type Message, messageSchema } from '@chorus/protocol'

type SnakeCase<Name extends string> = Name extends `${infer First}${infer Rest}`
  ? `${First extends Lowercase<First> ? First : `_${Lowercase<First>}`}${SnakeCase<Rest>}`
  : ''

type RowField = Exclude<keyof Message, 'conversation' | 'seq'>

/** Columns of a message, as the SQL function `message_detail` and the reads return them. */
export type MessageColumns = {
  readonly [Field in RowField as SnakeCase<Field>]-?:
    | Exclude<Message[Field], undefined>
    | (Field extends 'attachments' ? null : undefined extends Message[Field] ? null : never)
}

/** Columns that have another name in the table `changes`. */
const storedAs: { readonly [column: string]: string } = { sender: 'actor', created_at: 'at' }

interface FieldColumn {
  readonly field: RowField
  /** Name of the column in {@link MessageColumns}. */
  readonly column: keyof MessageColumns
  /** Name of the column in `changes`. */
  readonly stored: string
  readonly isTime: boolean
  readonly isOptional: boolean
}

export const messageColumns: readonly FieldColumn[] = Object.entries(messageSchema.shape)
  .filter(([field]) => field !== 'conversation' && field !== 'seq')
  .map(([field, schema]) => {
    const column = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    return {
      field: field as RowField,
      column: column as keyof MessageColumns,
      stored: storedAs[column] ?? column,
      isTime: field.endsWith('At'),
      isOptional: schema.isOptional(),
    }
  })

export function toMessage(conversation: Id, seq: number, columns: MessageColumns): Message {
  const message: Record<string, unknown> = { conversation, seq }
  for (const { field, column, isTime, isOptional } of messageColumns) {
    const value = columns[column] ?? null
    if (value === null && isOptional) continue
    message[field] = isTime && value !== null ? new Date(value as string).toISOString() : value
  }
  message['attachments'] ??= []
  return message as unknown as Message
}
