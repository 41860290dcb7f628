// @alga/extension-host: what a host page needs to show extensions.

export { type BootstrapOptions, type ExtensionFrame, bootstrapIframe } from './bootstrap.js';
export { HostError, type HostErrorCode } from './errors.js';
export type { ToastLevel } from './messages.js';
export type { RenewSession, Session } from './session.js';
export { type SrcOptions, buildExtUiSrc } from './source.js';
export type { ThemeTokens } from '../../protocol/values.js';
