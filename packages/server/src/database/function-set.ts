/**
 * Number and checksum of the SQL functions. The number grows with each change of a function.
 * Generated from functions/ by `npm run docs`. Do not edit.
 */
export const functionSet = { number: 9, checksum: '93aa989ff0b3e10a' } as const
