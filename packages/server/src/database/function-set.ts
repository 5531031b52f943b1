/**
 * Number and checksum of the SQL functions. The number grows with each change of a function.
 * Generated from functions/ by `npm run docs`. Do not edit.
 */
export const functionSet = { number: 10, checksum: '1297888c3445b48c' } as const
