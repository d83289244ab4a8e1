// The media types nginx knows without a `types` block.
// Used by the builder until a configuration says its own.

enum DefaultTypes {
    static let types: [(fileExtension: String, type: String)] = [
        ("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg"),
    ]
}
