/**
 * JSON of the application's own (message data, live values, session data): bounded in bytes and depth, storable at any
 * depth, and without keys that poison prototypes.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'
import { isStorableText } from './text.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

const poisonous = new Set(['__proto__', 'constructor', 'prototype'])

/** Why this value may not be stored, or undefined when it may. */
export function findJsonFault(value: unknown, maxBytes: number): string | undefined {
  const fault = findFaultAtDepth(value, 0)
  if (fault !== undefined) return fault
  if (new TextEncoder().encode(JSON.stringify(value)).length > maxBytes) return `is more than ${maxBytes} bytes of JSON`
  return undefined
}

function findFaultAtDepth(value: unknown, depth: number): string | undefined {
  if (depth > limits.jsonMaxDepth) return `is nested deeper than ${limits.jsonMaxDepth}`
  switch (typeof value) {
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : 'contains a number that is not finite'
    case 'string':
      return isStorableText(value) ? undefined : 'contains NUL or a lone surrogate'
    case 'object':
      break
    default:
      return 'is not JSON'
  }
  if (value === null) return undefined
  if (Array.isArray(value)) {
    for (const item of value) {
      const fault = findFaultAtDepth(item, depth + 1)
      if (fault !== undefined) return fault
    }
    return undefined
  }
  for (const [key, item] of Object.entries(value)) {
    if (poisonous.has(key)) return `contains the key ${key}`
    if (!isStorableText(key)) return 'contains NUL or a lone surrogate'
    const fault = findFaultAtDepth(item, depth + 1)
    if (fault !== undefined) return fault
  }
  return undefined
}

/** Any JSON value of at most `maxBytes` bytes. */
export function jsonSchema(maxBytes: number) {
  return z.custom<Json>().superRefine((value: unknown, context) => {
    const fault = value === undefined ? 'is missing' : findJsonFault(value, maxBytes)
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
  })
}

/** A JSON object of at most `maxBytes` bytes. */
export function jsonObjectSchema(maxBytes: number) {
  return z.custom<{ readonly [key: string]: Json }>().superRefine((value: unknown, context) => {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    const fault = isObject ? findJsonFault(value, maxBytes) : 'is not an object'
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
  })
}
