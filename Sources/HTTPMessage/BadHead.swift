// Why a head was refused: one case a reason, with the status to answer and the word to log.
// Made by the parsers and by `BodyFraming`, read by the engine. It must not carry bytes of the message.

/// Toward a client the engine answers `status`; when an upstream sent the head it answers 502 and logs `word`.
public enum BadHead: UInt8, Error, CaseIterable, Sendable, BitwiseCopyable {
    case badMethod, badTarget, badAuthority, badVersion, missingVersion, versionNotSupported
    case tooManyEmptyLines, badStatus
    case badFieldName, emptyFieldName, spaceBeforeColon, missingColon, obsoleteFold
    case loneCarriageReturn, controlCharacter, nulByte
    case tooManyFields, targetTooLong, headTooLarge
    case missingHost, repeatedHost, badHost, repeatedField
    case badContentLength, repeatedContentLength, lengthAndTransferEncoding
    case unknownTransferEncoding, repeatedTransferEncoding, transferEncodingInHTTP10
    case missingPseudoField, unknownPseudoField, misplacedPseudoField, connectionField, hostNotAuthority, lengthNotData

    /// 400, 414, 431, 501 or 505.
    public var status: UInt16 {
        switch self {
        case .targetTooLong: 414
        case .tooManyFields, .headTooLarge: 431
        case .unknownTransferEncoding: 501
        case .versionNotSupported: 505
        default: 400
        }
    }

    /// For the log: what was wrong, without a subject.
    public var word: StaticString {
        switch self {
        case .badMethod: "invalid method"
        case .badTarget: "invalid request target"
        case .badAuthority: "invalid authority in the request target"
        case .badVersion: "invalid protocol version"
        case .missingVersion: "no protocol version in the first line"
        case .versionNotSupported: "protocol version not supported"
        case .tooManyEmptyLines: "too many empty lines before the request"
        case .badStatus: "invalid status code"
        case .badFieldName: "invalid character in a header name"
        case .emptyFieldName: "empty header name"
        case .spaceBeforeColon: "space before the colon of a header line"
        case .missingColon: "header line without a colon"
        case .obsoleteFold: "folded header line"
        case .loneCarriageReturn: "carriage return without line feed"
        case .controlCharacter: "control character"
        case .nulByte: "zero byte"
        case .tooManyFields: "too many header lines"
        case .targetTooLong: "request target too long"
        case .headTooLarge: "header too large"
        case .missingHost: "no \"Host\" header"
        case .repeatedHost: "duplicate \"Host\" header"
        case .badHost: "invalid \"Host\" header"
        case .repeatedField: "duplicate header line"
        case .badContentLength: "invalid \"Content-Length\" header"
        case .repeatedContentLength: "duplicate \"Content-Length\" header"
        case .lengthAndTransferEncoding: "\"Content-Length\" and \"Transfer-Encoding\" headers at the same time"
        case .unknownTransferEncoding: "unknown \"Transfer-Encoding\""
        case .repeatedTransferEncoding: "duplicate \"Transfer-Encoding\" header"
        case .transferEncodingInHTTP10: "\"Transfer-Encoding\" header in an HTTP/1.0 message"
        case .missingPseudoField: "no mandatory pseudo-header field"
        case .unknownPseudoField: "unknown pseudo-header field"
        case .misplacedPseudoField: "duplicate pseudo-header field, or one behind other fields"
        case .connectionField: "a header of the connection in an HTTP/2 request"
        case .hostNotAuthority: "\"Host\" header that is not the authority"
        case .lengthNotData: "\"Content-Length\" that is not the size of the body"
        }
    }

    /// What a byte that may not stand in a text means: a zero byte, a line end where none is allowed, or another control.
    @inline(never)
    init(control c: UInt8) { self = c == 0 ? .nulByte : c == 0x0D ? .loneCarriageReturn : .controlCharacter }
}
