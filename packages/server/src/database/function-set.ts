/**
 * Number and checksum of the SQL functions. The number grows with each change of a function.
 * Generated from functions/ by `npm run docs`. Do not edit.
 */
export const functionSet = { number: 8, checksum: '88777fcef538b340' } as const
