// What differs between the two JavaScript examples: their names.

export const extension = 'samples.hello-quickjs'; // as in the manifest: a topic must start with it
export const language = 'javascript (quickjs)';
