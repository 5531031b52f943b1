/**
 * Number and checksum of the SQL functions. The number grows with each change of a function.
 * Generated from functions/ by `npm run docs`. Do not edit.
 */
export const functionSet = { number: 7, checksum: '597efb5220b1c59a' } as const
