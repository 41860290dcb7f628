/** Supplies the globals an engine lacks; imported for its effect. */
export {};
