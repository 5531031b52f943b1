/**
 * JSON values of the application (message data, live values, session data): limited in bytes and
 * nesting depth, without text that Postgres cannot store, and without keys such as `__proto__` that
 * can change a prototype.
 */
import * as z from 'zod'
import { limits } from '../limits.ts'
import { isStorableText } from './text.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

const poisonous = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Returns why this value may not be stored, or undefined if it may. The check stops as soon as the
 * value exceeds the limit, so its cost is bounded.
 */
export function findJsonFault(value: unknown, maxBytes: number): string | undefined {
  const fault = findFaultAtDepth(value, 0, { leftBytes: maxBytes, maxBytes })
  if (fault !== undefined) return fault
  // The check above counts characters, but some characters take more than one byte.
  if (new TextEncoder().encode(JSON.stringify(value)).length > maxBytes) return tooLarge(maxBytes)
  return undefined
}

/**
 * State of one check: the bytes that remain of the limit. Every value, and every character of a
 * string, takes at least one byte of JSON.
 */
interface Walk {
  leftBytes: number
  readonly maxBytes: number
}

function tooLarge(maxBytes: number): string {
  return `is more than ${maxBytes} bytes of JSON`
}

function findFaultAtDepth(value: unknown, depth: number, walk: Walk): string | undefined {
  if (depth > limits.jsonMaxDepth) return `is nested deeper than ${limits.jsonMaxDepth}`
  if (--walk.leftBytes < 0) return tooLarge(walk.maxBytes)
  switch (typeof value) {
    case 'boolean':
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : 'contains a number that is not finite'
    case 'string':
      return findTextFault(value, walk)
    case 'object':
      break
    default:
      return 'is not JSON'
  }
  if (value === null) return undefined
  if (Array.isArray(value)) {
    // Check the length first: an array with holes can have any length.
    if (value.length > walk.leftBytes + 1) return tooLarge(walk.maxBytes)
    for (const item of value) {
      const fault = findFaultAtDepth(item, depth + 1, walk)
      if (fault !== undefined) return fault
    }
    return undefined
  }
  if (!isPlainObject(value)) return 'is not JSON'
  for (const key in value) {
    if (poisonous.has(key)) return `contains the key ${key}`
    const fault = findTextFault(key, walk) ?? findFaultAtDepth(value[key], depth + 1, walk)
    if (fault !== undefined) return fault
  }
  return undefined
}

function findTextFault(text: string, walk: Walk): string | undefined {
  walk.leftBytes -= text.length
  if (walk.leftBytes < 0) return tooLarge(walk.maxBytes)
  return isStorableText(text) ? undefined : 'contains NUL or a lone surrogate'
}

/**
 * Returns false for bytes, dates, maps and class instances: `JSON.stringify` would convert such
 * values to something else.
 */
function isPlainObject(value: object): value is { readonly [key: string]: unknown } {
  const prototype = Object.getPrototypeOf(value) as object | null
  // Accept the object prototype of any JavaScript realm (such as a frame), because each realm has
  // its own `Object`.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** Returns a schema for any JSON value of at most `maxBytes` bytes. */
export function jsonSchema(maxBytes: number) {
  return z.custom<Json>().superRefine((value: unknown, context) => {
    const fault = value === undefined ? 'is missing' : findJsonFault(value, maxBytes)
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
  })
}

/** Returns a schema for a JSON object of at most `maxBytes` bytes. */
export function jsonObjectSchema(maxBytes: number) {
  return z.custom<{ readonly [key: string]: Json }>().superRefine((value: unknown, context) => {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    const fault = isObject ? findJsonFault(value, maxBytes) : 'is not an object'
    if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
  })
}
