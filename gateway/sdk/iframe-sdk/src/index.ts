// @alga/extension-iframe-sdk: what an extension's page needs inside its iframe.

export { type Bootstrap, type HostEvents, IframeBridge, type Session, type ToastLevel, createBridge } from './bridge.js';
export { BridgeError, type BridgeErrorCode, HandlerError } from './errors.js';
export { type CallInit, type JsonInit, ProxyResponse } from './proxy.js';
export type { ThemeTokens } from '../../protocol/values.js';
