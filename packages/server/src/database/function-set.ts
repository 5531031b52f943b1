/**
 * Number and checksum of the SQL functions. The number grows with each change of a function.
 * Generated from functions/ by `npm run docs`. Do not edit.
 */
export const functionSet = { number: 2, checksum: '78170d59c0a5e83f' } as const
