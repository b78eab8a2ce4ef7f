import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URL;
import javax.xml.namespace.QName;
import javax.xml.rpc.ParameterMode;
import org.apache.axis.AxisFault;
import org.apache.axis.client.Call;
import org.apache.axis.client.Service;
import org.apache.axis.constants.Style;
import org.apache.axis.constants.Use;
import org.apache.axis.encoding.XMLType;
import org.apache.axis.soap.SOAPConstants;
import org.apache.axis.transport.http.SimpleAxisServer;

/** A service of Apache Axis, which can also be told to call another one as a client. */
public class AxisPeer {
    private static final String SPACE = "urn:hl7-org:v3";

    public String HIPMessageServer(String action, String message) throws Exception {
        if (action.equals("client")) throw new AxisFault(new QName(SPACE, "Client.Bad"), "no such patient", null, null);
        if (action.equals("server")) throw new IllegalStateException("broken");
        return action + ":" + message;
    }

    public String call(String url, String how, String action, String message) throws Exception {
        Call call = (Call) new Service().createCall();
        call.setTargetEndpointAddress(new URL(url));
        call.setOperationName(new QName(SPACE, "HIPMessageServer"));
        call.addParameter("action", XMLType.XSD_STRING, ParameterMode.IN);
        call.addParameter("message", XMLType.XSD_STRING, ParameterMode.IN);
        call.setReturnType(XMLType.XSD_STRING);
        call.setTimeout(10000);
        call.setUseSOAPAction(true);
        call.setSOAPActionURI("urn:hip");
        if (how.startsWith("wrapped")) {
            call.setOperationStyle(Style.WRAPPED);
            call.setOperationUse(Use.LITERAL);
            call.setProperty(Call.SEND_TYPE_ATTR, Boolean.FALSE);
        }
        if (how.endsWith("1.2")) call.setSOAPVersion(SOAPConstants.SOAP12_CONSTANTS);
        try {
            return "OK " + call.invoke(new Object[] {action, message});
        } catch (AxisFault fault) {
            return "FAULT " + fault.getFaultCode().getLocalPart() + " " + fault.getFaultString();
        }
    }

    public static void main(String[] arguments) throws Exception {
        SimpleAxisServer server = new SimpleAxisServer();
        server.setServerSocket(new ServerSocket(Integer.parseInt(arguments[0]), 50, InetAddress.getByName("127.0.0.1")));
        server.run();
    }
}
