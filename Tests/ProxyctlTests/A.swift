import Testing
@testable import proxyctl
